"""What several base models stand on."""
