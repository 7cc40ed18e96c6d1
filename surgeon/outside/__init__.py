"""What surgeon uses and does not own: the process that it runs in, and names that libraries keep for themselves."""
