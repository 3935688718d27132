variable "command" {
  description = "Path of the `strongroom` command."
  type        = string
  default     = "strongroom"
}

variable "state" {
  description = "Folder of the embedded stack."
  type        = string
  default     = "~/.strongroom"
}

variable "rows" {
  description = "Folder with train.jsonl and held_out.jsonl."
  type        = string
}

variable "steps" {
  description = "Optimiser steps."
  type        = number
  default     = 60

  validation {
    condition     = var.steps >= 1 && floor(var.steps) == var.steps
    error_message = "steps must be a whole number from 1; a first look needs 4, learning about 60."
  }
}

variable "learning_rate" {
  description = "Step size of the optimiser."
  type        = string
  default     = "5.0e-4"
}

variable "ttl" {
  description = "Lifetime of leased credentials; the policy has a limit."
  type        = string
  default     = "15m"
}

variable "wait" {
  description = "Whether `apply` waits for the run's end."
  type        = bool
  default     = true
}
