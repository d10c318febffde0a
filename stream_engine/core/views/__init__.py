"""What is read off history and off facts, for those who look."""
