"""What the API and the console share: problem documents, strict JSON bodies, structured logs."""
