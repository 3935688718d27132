output "keys" {
  description = "Value of `spec.keys` in a run file, for each pair `<data key>/<outputs key>`. Add `releaser`, the address of the releaser's socket."
  value       = module.policies.keys
}

output "identity" {
  description = "Value of `spec.identity` in a run file. Add `credentials`, the path of the broker's AppRole file."
  value       = { type = "openbao", addr = var.address, oidc_role = vault_identity_oidc_role.this["broker"].name }
}

output "releaser_keys" {
  description = "Value of `keys` in releaser.json: the keys that wrap, of datasets and of outputs."
  value       = module.policies.releaser_keys
}

output "releaser_log" {
  description = "The part of `log` in releaser.json that names key and identity: `key`, `vault_addr`, `oidc_role`. Merge it with that of modules/aws, and add `credentials_file` and `memory`."
  value       = merge(module.policies.releaser_log, { vault_addr = var.address, oidc_role = vault_identity_oidc_role.this["log"].name })
}

output "owner_identity" {
  description = "Value of `identity` in an owner file; null without `owner`. Add `credentials`, the path of the owner's AppRole file."
  value       = var.owner ? { type = "openbao", addr = var.address, oidc_role = vault_identity_oidc_role.this["owner"].name } : null
}

output "issuer_url" {
  description = "Issuer of identity tokens, for `issuer_url` of modules/aws and modules/gcp."
  value       = "${var.address}/v1/identity/oidc"
}

output "subjects" {
  description = "The `sub` of each identity's tokens, for `broker_subject`, `log_subject` and `owner_subject` of modules/aws and modules/gcp."
  value       = { for identity, entity in vault_identity_entity.this : identity => entity.id }
}

output "approle_role_ids" {
  description = "Role id of each identity. Its secret id is made by hand, wrapped, on the machine that uses it."
  value       = { for identity, role in vault_approle_auth_backend_role.this : identity => role.role_id }
}
