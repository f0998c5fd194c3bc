"""`make audit` and `make bom`: what is installed and what was trained, as CycloneDX; licences and advisories."""
