"""From the database to a page."""
