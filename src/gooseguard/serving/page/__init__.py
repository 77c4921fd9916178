"""The page at `/`: paste a text, see scores, spans and what each policy says. Static files, no build step."""
