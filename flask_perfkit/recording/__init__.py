"""What happened: the open recorder, the profile that becomes of it, and the plain data of both."""
