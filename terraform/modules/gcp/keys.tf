# One key for each bucket, used by Cloud Storage's own agent and by nobody else. These keys are the
# buckets' encryption at rest, under objects that Strongroom has sealed already; the keys that seal
# are in OpenBao or Vault (modules/vault).

resource "google_kms_key_ring" "this" {
  project  = var.project
  name     = var.name
  location = var.location
}

resource "google_kms_crypto_key" "this" {
  for_each = toset(["data", "audit"])

  name            = each.value
  key_ring        = google_kms_key_ring.this.id
  purpose         = "ENCRYPT_DECRYPT"
  rotation_period = "7776000s" # 90 days
  labels          = var.labels

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_binding" "storage_agent" {
  for_each = google_kms_crypto_key.this

  crypto_key_id = each.value.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  members       = ["serviceAccount:${data.google_storage_project_service_account.this.email_address}"]
}
