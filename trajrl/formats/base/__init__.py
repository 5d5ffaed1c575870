"""What every format shares: reading columns, importing, exporting, downloading."""
