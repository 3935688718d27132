# No key can be exported, backed up in plain, or deleted. Rotation makes a new version and keeps the
# old ones, so that what was wrapped or signed stays readable.

resource "vault_mount" "transit" {
  path        = var.transit_mount
  type        = "transit"
  description = "Strongroom: wraps keysets, signs manifests and the audit log"
}

# Derived: each dataset and each run has a key of its own, from the context that it is wrapped in.
resource "vault_transit_secret_backend_key" "wrapping" {
  for_each = setunion(var.data_keys, var.outputs_keys)

  backend                = vault_mount.transit.path
  name                   = each.value
  type                   = "aes256-gcm96"
  derived                = true
  exportable             = false
  allow_plaintext_backup = false
  deletion_allowed       = false

  lifecycle {
    prevent_destroy = true
  }
}

# Not rotated: verifiers hold these keys' public halves.
resource "vault_transit_secret_backend_key" "signing" {
  for_each = toset([var.audit_key, var.signer_key])

  backend                = vault_mount.transit.path
  name                   = each.value
  type                   = "ed25519"
  exportable             = false
  allow_plaintext_backup = false
  deletion_allowed       = false

  lifecycle {
    prevent_destroy = true
  }
}
