# Who may do what at OpenBao or Vault, as policies. No provider: Terraform alone evaluates it, so tests
# compare it with what a run needs, and load it into a real OpenBao.

locals {
  # Each identity's paths. Everything that is not named is denied: no list, no wildcard, no key's
  # change, no export. Every key use is an update of one path.
  grants = merge(
    {
      # Identity tokens for the buckets, and no key.
      broker = { "identity/oidc/token/${var.broker_oidc_role}" = ["read"] }

      # The releaser's own identity at the log's bucket, and no key: whoever steals it cannot sign.
      log = { "identity/oidc/token/${var.log_oidc_role}" = ["read"] }

      # A run: open datasets, make and open output keysets, sign the log and show its public key.
      releaser = merge(
        { for key in var.data_keys : "${var.transit_mount}/decrypt/${key}" => ["update"] },
        { for key in var.outputs_keys : "${var.transit_mount}/encrypt/${key}" => ["update"] },
        { for key in var.outputs_keys : "${var.transit_mount}/decrypt/${key}" => ["update"] },
        {
          "${var.transit_mount}/sign/${var.audit_key}" = ["update"]
          "${var.transit_mount}/keys/${var.audit_key}" = ["read"]
        },
      )

      # Sealing datasets: make a keyset, hand it to the sealer, sign the manifest.
      sealer = merge(
        { for key in var.data_keys : "${var.transit_mount}/encrypt/${key}" => ["update"] },
        { for key in var.data_keys : "${var.transit_mount}/decrypt/${key}" => ["update"] },
        {
          "${var.transit_mount}/sign/${var.signer_key}" = ["update"]
          "${var.transit_mount}/keys/${var.signer_key}" = ["read"]
        },
      )
    },
    var.owner_oidc_role == null ? {} : {
      owner = { "identity/oidc/token/${coalesce(var.owner_oidc_role, "-")}" = ["read"] }
    },
  )

  # A wrapping request without its context is refused before it reaches the key.
  needs_context = [for path in flatten([for paths in values(local.grants) : keys(paths)]) : path if can(regex("/(en|de)crypt/", path))]

  documents = {
    for identity, paths in local.grants : identity => join("\n", [
      for path, capabilities in paths : join("\n", concat(
        ["path \"${path}\" {", "  capabilities = ${jsonencode(capabilities)}"],
        contains(local.needs_context, path) ? ["  required_parameters = [\"context\"]"] : [],
        ["}", ""],
      ))
    ])
  }
}
