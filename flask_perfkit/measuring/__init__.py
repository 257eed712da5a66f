"""What a programmer measures on purpose: blocks of statements, time and memory."""
