output "policies" {
  description = "Policy of each identity: broker, log, releaser, sealer and, with `owner_oidc_role`, owner."
  value       = local.documents
}

output "grants" {
  description = "The same as paths and capabilities."
  value       = local.grants

  precondition {
    condition     = length(setintersection(setunion(var.data_keys, var.outputs_keys), [var.audit_key, var.signer_key])) == 0 && var.audit_key != var.signer_key
    error_message = "audit_key and signer_key must be keys of their own: a signing key never wraps keys, and a manifest's signer never signs the log."
  }

  precondition {
    condition     = length(setintersection(var.data_keys, var.outputs_keys)) == 0
    error_message = "data_keys and outputs_keys must not share a key: who may read runs' outputs need not read datasets."
  }

  precondition {
    condition     = !contains([for role in [var.broker_oidc_role, var.owner_oidc_role] : role if role != null], var.log_oidc_role)
    error_message = "log_oidc_role must be an OIDC role of its own: by its subject alone the log is written."
  }
}

output "keys" {
  description = "Value of `spec.keys` in a run file, for each pair of a data key and an outputs key, as `<data key>/<outputs key>`. `releaser` is to be added."
  value = {
    for pair in setproduct(var.data_keys, var.outputs_keys) : "${pair[0]}/${pair[1]}" => {
      data    = "vault://${var.transit_mount}/${pair[0]}"
      outputs = "vault://${var.transit_mount}/${pair[1]}"
      audit   = "vault://${var.transit_mount}/${var.audit_key}"
    }
  }
}

output "releaser_keys" {
  description = "Value of `keys` in releaser.json: the keys that wrap, of datasets and of outputs."
  value       = [for key in concat(sort(var.data_keys), sort(var.outputs_keys)) : "vault://${var.transit_mount}/${key}"]
}

output "releaser_log" {
  description = "The part of `log` in releaser.json that names key and identity: key, oidc_role."
  value       = { key = "vault://${var.transit_mount}/${var.audit_key}", oidc_role = var.log_oidc_role }
}
