"""`make soak`: tiny chains ended at random moments, and what each comes to."""
