output "policies" {
  description = "Policy of each identity: broker, releaser, sealer and, with `owner_oidc_role`, owner."
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
