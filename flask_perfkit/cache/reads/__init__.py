"""What a creator reads while it runs, by statements and out of its sessions."""
