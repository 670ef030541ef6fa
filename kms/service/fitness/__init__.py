"""The rules of production mode, by where they look: settings, token, records (`kms.service.doctor` asks them all)."""
