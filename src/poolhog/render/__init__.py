"""Pictures of a trace: in the terminal, as SVG, on a page."""
