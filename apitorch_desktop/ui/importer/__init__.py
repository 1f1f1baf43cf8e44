"""Import plan and upload of dropped photos."""
