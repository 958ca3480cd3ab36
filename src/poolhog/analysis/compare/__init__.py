"""What changed from one run to another, beyond the spread of each."""
