output "run" {
  description = "The run's id."
  value       = strongroom_run.this.id
}

output "plan" {
  description = "Digest of the plan that was admitted."
  value       = strongroom_run.this.plan_digest
}

output "metrics" {
  description = "Held-out numbers before and after."
  value       = strongroom_run.this.metrics
}

output "adapter_sha256" {
  description = "Digest of the result."
  value       = strongroom_run.this.adapter_sha256
}

output "outputs" {
  description = "The run's sealed outputs in the data bucket."
  value       = strongroom_run.this.outputs
}

output "report" {
  description = "Path of the report."
  value       = strongroom_run.this.report
}
