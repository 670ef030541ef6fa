"""The `kms` command: one module per noun, each registered here."""
