# Identities: an AppRole each, logins of 15 minutes at most, and OIDC tokens for the buckets.
# Secret ids are not made here, so that none lies in Terraform's state.

# Strongroom logs in at the path `approle` and no other.
resource "vault_auth_backend" "approle" {
  count = var.mount_approle ? 1 : 0

  type        = "approle"
  path        = "approle"
  description = "Brokers, releasers and sealers of Strongroom, among others"
}

data "vault_auth_backend" "approle" {
  count = var.mount_approle ? 0 : 1

  path = "approle"
}

locals {
  approle_accessor = var.mount_approle ? vault_auth_backend.approle[0].accessor : data.vault_auth_backend.approle[0].accessor
}

resource "vault_approle_auth_backend_role" "this" {
  for_each = module.policies.policies

  backend               = var.mount_approle ? vault_auth_backend.approle[0].path : data.vault_auth_backend.approle[0].path
  role_name             = "${var.name}-${each.key}"
  token_policies        = [vault_policy.this[each.key].name]
  token_ttl             = var.login_ttl_s
  token_max_ttl         = var.login_ttl_s
  token_bound_cidrs     = lookup(var.bound_cidrs, each.key, [])
  secret_id_bound_cidrs = lookup(var.bound_cidrs, each.key, [])
}

resource "vault_identity_entity" "this" {
  for_each = local.oidc_roles

  name = "${var.name}-${each.key}"
}

resource "vault_identity_entity_alias" "approle" {
  for_each = local.oidc_roles

  name           = vault_approle_auth_backend_role.this[each.key].role_id
  mount_accessor = local.approle_accessor
  canonical_id   = vault_identity_entity.this[each.key].id
}

# The same entity, and so the same `sub`, for whom logs in by a JWT.
resource "vault_identity_entity_alias" "jwt" {
  for_each = {
    for identity, subject in try(var.jwt.bound_subjects, {}) : identity => subject
    if contains(keys(local.oidc_roles), identity)
  }

  name           = each.value
  mount_accessor = vault_jwt_auth_backend.this[0].accessor
  canonical_id   = vault_identity_entity.this[each.key].id
}

# One issuer for the whole server: other uses of its OIDC tokens see it too.
resource "vault_identity_oidc" "this" {
  issuer = var.address
}

resource "vault_identity_oidc_key" "this" {
  name               = var.name
  algorithm          = "RS256"
  rotation_period    = 86400
  verification_ttl   = 3600
  allowed_client_ids = [var.audience]
}

resource "vault_identity_oidc_role" "this" {
  for_each = local.oidc_roles

  name      = each.value
  key       = vault_identity_oidc_key.this.name
  client_id = var.audience
  ttl       = var.identity_token_ttl_s
}

resource "vault_jwt_auth_backend" "this" {
  count = var.jwt == null ? 0 : 1

  path               = "${var.name}-jwt"
  type               = "jwt"
  description        = "Strongroom: workloads by their platform's tokens"
  oidc_discovery_url = var.jwt.issuer
  bound_issuer       = var.jwt.issuer
}

resource "vault_jwt_auth_backend_role" "this" {
  for_each = var.jwt == null ? {} : var.jwt.bound_subjects

  backend           = vault_jwt_auth_backend.this[0].path
  role_name         = each.key
  role_type         = "jwt"
  user_claim        = var.jwt.subject_claim
  bound_audiences   = [var.jwt.audience]
  bound_subject     = each.value
  bound_claims_type = "string"
  bound_claims      = lookup(var.jwt.bound_claims, each.key, {})
  token_policies    = [vault_policy.this[each.key].name]
  token_ttl         = var.login_ttl_s
  token_max_ttl     = var.login_ttl_s
  token_bound_cidrs = lookup(var.bound_cidrs, each.key, [])
}
