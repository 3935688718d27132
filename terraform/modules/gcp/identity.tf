# Web identities instead of service account keys: who shows a token with exactly this `aud` and `sub`
# acts as a service account, and each lease narrows it by a credential access boundary.

resource "google_service_account" "this" {
  for_each = toset(["inputs", "runs", "audit", "log"])

  project      = var.project
  account_id   = "${var.name}-${each.value}"
  display_name = "Strongroom: ${each.value}"
}

resource "google_project_iam_custom_role" "this" {
  for_each = module.policies.permissions

  project     = var.project
  role_id     = "${replace(var.name, "-", "_")}_${each.key}"
  title       = "Strongroom: ${each.key}"
  permissions = each.value
}

resource "google_storage_bucket_iam_member" "this" {
  for_each = module.policies.grants

  bucket = each.value.bucket == var.audit_bucket ? google_storage_bucket.this["audit"].name : google_storage_bucket.this["data"].name
  role   = google_project_iam_custom_role.this[each.value.right].id
  member = google_service_account.this[each.value.account].member

  condition {
    title      = substr(replace("${each.value.right} ${each.value.of}", "/[^A-Za-z0-9 ._-]/", "-"), 0, 100)
    expression = each.value.condition
  }
}

resource "google_iam_workload_identity_pool" "this" {
  project                   = var.project
  workload_identity_pool_id = var.name
  display_name              = "Strongroom"
}

resource "google_iam_workload_identity_pool_provider" "broker" {
  project                            = var.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.this.workload_identity_pool_id
  workload_identity_pool_provider_id = "broker"
  display_name                       = "Strongroom's brokers"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  attribute_condition                = module.policies.token_condition

  oidc {
    issuer_uri        = var.issuer_url
    allowed_audiences = [var.audience]
  }
}

resource "google_iam_workload_identity_pool_provider" "confidential_space" {
  count = var.confidential_space_image == null ? 0 : 1

  project                            = var.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.this.workload_identity_pool_id
  workload_identity_pool_provider_id = "confidential-space"
  display_name                       = "Attested by Confidential Space"
  attribute_mapping                  = { "google.subject" = "\"gcpcs::\" + assertion.submods.container.image_digest" }
  attribute_condition                = module.policies.confidential_space_condition

  oidc {
    issuer_uri        = "https://confidentialcomputing.googleapis.com/"
    allowed_audiences = ["https://sts.googleapis.com"]
  }
}

resource "google_service_account_iam_binding" "broker" {
  for_each = google_service_account.this

  service_account_id = each.value.name
  role               = "roles/iam.workloadIdentityUser"
  members            = ["principal://iam.googleapis.com/${google_iam_workload_identity_pool.this.name}/subject/${module.policies.subjects[each.key]}"]
}
