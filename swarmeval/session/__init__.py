"""One run or score session, from the first check to the last file."""
