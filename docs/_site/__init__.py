"""What the site needs beyond Sphinx: see docs/decisions/0010-a-site-with-sphinx.md."""
