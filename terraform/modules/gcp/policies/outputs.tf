output "permissions" {
  description = "Permissions of each right, for a custom role each."
  value       = local.permissions
}

output "grants" {
  description = "Which service account has which right in which bucket, under which condition (CEL)."
  value       = { for grant in local.grants : "${grant.account} ${grant.right} ${grant.of}" => grant }

  precondition {
    condition     = var.data_bucket != var.audit_bucket
    error_message = "data_bucket and audit_bucket must be two buckets: retention is per bucket."
  }

  precondition {
    condition     = alltrue([for prefix in var.input_prefixes : !startswith(prefix, var.outputs_prefix) && !startswith(var.outputs_prefix, prefix)])
    error_message = "input_prefixes must lie apart from outputs_prefix, so that no run changes an input."
  }
}

output "subjects" {
  description = "The only `sub` that may act as each service account."
  value       = local.subjects

  precondition {
    condition     = var.log_subject != var.broker_subject
    error_message = "log_subject must be the releaser's own, so that no run writes the log."
  }
}

output "token_condition" {
  description = "Which identity tokens the pool takes (CEL)."
  value       = join(" || ", [for subject in sort(distinct(values(local.subjects))) : "assertion.sub == \"${subject}\""])
}

output "confidential_space_condition" {
  description = "Which attestation tokens the pool takes (CEL); null without an image."
  value = var.confidential_space_image == null ? null : join(" && ", [
    "assertion.swname == \"CONFIDENTIAL_SPACE\"",
    "\"STABLE\" in assertion.submods.confidential_space.support_attributes",
    "assertion.submods.container.image_digest == \"${var.confidential_space_image}\"",
  ])
}

output "uris" {
  description = "Values of `spec.outputs` and `spec.audit` in a run file."
  value = {
    outputs = "gs://${var.data_bucket}/${var.outputs_prefix}"
    audit   = "gs://${var.audit_bucket}/${var.audit_prefix}"
  }
}

output "releaser_log" {
  description = "The part of `log` in releaser.json that names the bucket: uri, role."
  value       = { uri = "gs://${var.audit_bucket}/${var.audit_prefix}", role = var.service_accounts.log }
}

output "access" {
  description = "Value of `spec.access` in a run file. The longest `uri` that holds an object applies."
  value = [
    { uri = "gs://${var.data_bucket}/", role = var.service_accounts.inputs, via = "web-identity", ttl = "15m" },
    { uri = "gs://${var.data_bucket}/${var.outputs_prefix}", role = var.service_accounts.runs, via = "web-identity", ttl = "15m" },
    { uri = "gs://${var.audit_bucket}/${var.audit_prefix}", role = var.service_accounts.audit, via = "web-identity", ttl = "15m" },
  ]
}
