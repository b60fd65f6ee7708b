"""The results database: schema, ingest, queries."""
