output "role_names" {
  description = "Name of each role, by what it is for."
  value       = local.role_names
}

output "role_arns" {
  description = "ARN of each role, by what it is for."
  value       = local.role_arns
}

output "role_policies" {
  description = "The only policy of each role, as JSON."
  value = {
    for role, statements in local.role_statements : role =>
    jsonencode({ Version = "2012-10-17", Statement = statements })
  }
}

output "trust_policies" {
  description = "Who may assume each role, as JSON."
  value = {
    for role, statements in local.trust_statements : role =>
    jsonencode({ Version = "2012-10-17", Statement = statements })
  }
}

output "key_policies" {
  description = "Policies of the keys of data, audit and logs, as JSON."
  value = {
    for key, statements in merge(local.key_statements, { logs = local.log_key_statements }) : key =>
    jsonencode({ Version = "2012-10-17", Statement = statements })
  }
}

output "bucket_policies" {
  description = "Policies of the buckets data, audit and logs, as JSON."
  value = {
    data = jsonencode({ Version = "2012-10-17", Statement = concat(
      local.transport_statements.data, local.encryption_statements.data,
      local.conditional_statements.data, local.network_statements.data,
    ) })
    audit = jsonencode({ Version = "2012-10-17", Statement = concat(
      local.transport_statements.audit, local.encryption_statements.audit,
      local.conditional_statements.audit, local.writer_statements, local.removal_statements.audit,
      local.network_statements.audit, local.auditor_statements,
    ) })
    logs = jsonencode({ Version = "2012-10-17", Statement = concat(
      local.transport_statements.logs, local.removal_statements.logs, local.delivery_statements,
    ) })
  }
}

output "uris" {
  description = "Values of `spec.outputs` and `spec.audit` in a run file."
  value = {
    outputs = "s3://${var.data_bucket}/${var.outputs_prefix}"
    audit   = "s3://${var.audit_bucket}/${var.audit_prefix}"
  }
}

locals {
  # Tells a run the region, and that it is AWS, whose STS has an address of its own.
  endpoint = "https://s3.${var.region}.amazonaws.com"
}

output "access" {
  description = "Value of `spec.access` in a run file. The longest `uri` that holds an object applies."
  value = [
    { uri = "s3://${var.data_bucket}/", role = local.role_arns.inputs, via = "web-identity", ttl = "15m", endpoint = local.endpoint },
    { uri = "s3://${var.data_bucket}/${var.outputs_prefix}", role = local.role_arns.runs, via = "web-identity", ttl = "15m", endpoint = local.endpoint },
    { uri = "s3://${var.audit_bucket}/${var.audit_prefix}", role = local.role_arns.audit, via = "web-identity", ttl = "15m", endpoint = local.endpoint },
  ]

  precondition {
    condition     = length(distinct([var.data_bucket, var.audit_bucket, var.log_bucket])) == 3
    error_message = "data_bucket, audit_bucket and log_bucket must be three buckets: Object Lock's default retention is per bucket."
  }

  precondition {
    condition = alltrue([
      for prefix in concat(var.input_prefixes, var.owner_prefixes) :
      !startswith(prefix, var.outputs_prefix) && !startswith(var.outputs_prefix, prefix)
    ])
    error_message = "input_prefixes and owner_prefixes must lie apart from outputs_prefix, so that no run changes an input."
  }
}

output "releaser_log" {
  description = "The part of `log` in releaser.json that names the bucket: uri, role, endpoint."
  value       = { uri = "s3://${var.audit_bucket}/${var.audit_prefix}", role = local.role_arns.log, endpoint = local.endpoint }

  precondition {
    condition     = !contains([for subject in [var.broker_subject, var.owner_subject] : subject if subject != null], var.log_subject)
    error_message = "log_subject must be the releaser's own, so that neither a run nor the data's owner writes the log."
  }
}

output "owner_access" {
  description = "Value of `access` in an owner file; empty without `owner_subject`."
  value = [
    for role, arn in local.role_arns :
    { uri = "s3://${var.data_bucket}/", role = arn, via = "web-identity", ttl = "15m", endpoint = local.endpoint } if role == "owner"
  ]
}
