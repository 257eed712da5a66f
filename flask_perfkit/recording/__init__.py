"""What happened: the open recorder, the profile that is made of it, and the plain data of both."""
