"""Running models on real fields: forecasts, loading, jobs."""
