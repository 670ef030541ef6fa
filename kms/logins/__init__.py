"""Adapter of logins: the one package that knows argon2 and webauthn."""
