output "data_uri" {
  description = "The data bucket."
  value       = strongroom_stack.this.data_uri
}

output "audit_uri" {
  description = "Where the audit log lies."
  value       = strongroom_stack.this.audit_uri
}

output "keys" {
  description = "References of the keys, as in a run file's `keys`."
  value = {
    data    = strongroom_stack.this.data_key
    outputs = strongroom_stack.this.outputs_key
    audit   = strongroom_stack.this.audit_key
  }
}

output "model" {
  description = "The base model in the data bucket: URI and digest."
  value = {
    base   = strongroom_stack.this.model_uri
    digest = strongroom_stack.this.model_digest
  }
}
