# The data and the audit bucket. Retention is per bucket, so the log has its own.

locals {
  buckets     = { data = var.data_bucket, audit = var.audit_bucket }
  has_network = length(var.allowed_cidrs) + length(var.allowed_vpcs) > 0
}

resource "google_storage_bucket" "this" {
  for_each = local.buckets

  project                     = var.project
  name                        = each.value
  location                    = var.location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  labels                      = var.labels

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.this[each.key].id
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = var.abort_uploads_after_days
    }
  }

  dynamic "retention_policy" {
    for_each = each.key == "audit" ? [var.audit_retention_days] : []

    content {
      retention_period = retention_policy.value * 86400
      is_locked        = var.lock_audit_retention
    }
  }

  dynamic "ip_filter" {
    for_each = local.has_network ? [true] : []

    content {
      mode                           = "Enabled"
      allow_all_service_agent_access = false
      allow_cross_org_vpcs           = false

      dynamic "public_network_source" {
        for_each = length(var.allowed_cidrs) > 0 ? [var.allowed_cidrs] : []

        content {
          allowed_ip_cidr_ranges = public_network_source.value
        }
      }

      dynamic "vpc_network_sources" {
        for_each = var.allowed_vpcs

        content {
          network                = vpc_network_sources.key
          allowed_ip_cidr_ranges = vpc_network_sources.value
        }
      }
    }
  }

  depends_on = [google_kms_crypto_key_iam_binding.storage_agent]
}

# Every read and write of an object, every use of a key and every exchange of a token. Authoritative:
# it replaces what the project has set for these services.
resource "google_project_iam_audit_config" "data_access" {
  for_each = toset(["storage.googleapis.com", "cloudkms.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com"])

  project = var.project
  service = each.value

  audit_log_config {
    log_type = "DATA_READ"
  }

  audit_log_config {
    log_type = "DATA_WRITE"
  }
}
