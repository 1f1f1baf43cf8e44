"""Design tokens, palette, style sheet and icons; LOOK.md has the rules."""
