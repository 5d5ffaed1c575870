"""What each figure shows, as plain numbers and captions."""
