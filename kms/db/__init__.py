"""The database adapter: SQLAlchemy models and repositories, a file per noun, behind `kms.service.ports`."""
