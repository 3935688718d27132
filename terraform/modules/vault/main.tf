# The key owner's side of Strongroom at OpenBao or Vault: keys that never leave it, and who may use
# them. Who may do what is decided in ./policies.

locals {
  oidc_roles = merge({ broker = "${var.name}-broker", log = "${var.name}-log" }, var.owner ? { owner = "${var.name}-owner" } : {})
}

module "policies" {
  source = "./policies"

  transit_mount    = var.transit_mount
  data_keys        = var.data_keys
  outputs_keys     = var.outputs_keys
  audit_key        = var.audit_key
  signer_key       = var.signer_key
  broker_oidc_role = local.oidc_roles.broker
  log_oidc_role    = local.oidc_roles.log
  owner_oidc_role  = var.owner ? local.oidc_roles.owner : null
}

resource "vault_policy" "this" {
  for_each = module.policies.policies

  name   = "${var.name}-${each.key}"
  policy = each.value
}

resource "vault_audit" "file" {
  count = var.audit_file == null ? 0 : 1

  type = "file"
  path = var.name

  options = {
    file_path = var.audit_file
    mode      = "0600"
  }
}
