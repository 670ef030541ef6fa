"""The HSM adapter: the only package that imports pkcs11. `kms.hsm.vault.open_vault` is its front door."""
