"""Networks and their mathematics; torch only, nothing of the store."""
