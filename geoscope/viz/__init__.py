"""Pictures of fields: colour scales, the base map, animations and the one door that writes files."""
