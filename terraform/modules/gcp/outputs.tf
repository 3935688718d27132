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
  description = "The part of `log` in releaser.json that names the bucket: `uri`, `role`. Merge it with that of modules/vault."
  value       = module.policies.releaser_log
}

output "kms_key_ids" {
  description = "Ids of the keys that encrypt the buckets at rest. They are no `spec.keys`: those come from modules/vault."
  value       = { for bucket, key in google_kms_crypto_key.this : bucket => key.id }
}

output "token_audience" {
  description = "Audience of a token exchange at Google's STS: the pool's provider for brokers."
  value       = "//iam.googleapis.com/${google_iam_workload_identity_pool_provider.broker.name}"
}
