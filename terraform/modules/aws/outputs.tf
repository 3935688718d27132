output "access" {
  description = "Value of `spec.access` in a run file."
  value       = module.policies.access
}

output "uris" {
  description = "Values of `spec.outputs` and `spec.audit` in a run file."
  value       = module.policies.uris
}

output "run_file" {
  description = "The part of a run file that this module decides, as YAML: `spec.outputs`, `spec.audit`, `spec.access`."
  value       = yamlencode({ spec = merge(module.policies.uris, { access = module.policies.access }) })
}

output "releaser_log" {
  description = "The part of `log` in releaser.json that names the bucket: `uri`, `role`, `endpoint`. Merge it with that of modules/vault."
  value       = module.policies.releaser_log
}

output "owner_access" {
  description = "Value of `access` in an owner file, for `strongroom seal --owner`; empty without `owner_subject`."
  value       = module.policies.owner_access
}

output "role_arns" {
  description = "ARN of each role: inputs, runs, audit, log and, with `owner_subject`, owner."
  value       = { for role, made in aws_iam_role.this : role => made.arn }
}

output "bucket_arns" {
  description = "ARNs of the buckets data, audit and logs."
  value       = merge({ for bucket, made in aws_s3_bucket.this : bucket => made.arn }, { logs = aws_s3_bucket.logs.arn })
}

output "kms_key_arns" {
  description = "ARNs of the keys that encrypt the buckets at rest. They are no `spec.keys`: those come from modules/vault."
  value       = { for key, made in aws_kms_key.this : key => made.arn }
}

output "oidc_provider_arn" {
  description = "ARN of the OIDC provider that the roles trust."
  value       = local.oidc_provider_arn
}
