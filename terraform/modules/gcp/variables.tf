variable "project" {
  description = "Id of the Google Cloud project that owns buckets, keys and service accounts."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project's id (6 to 30 lower-case letters, digits and hyphens), not its number."
  }
}

variable "location" {
  description = "Region of buckets and keys, such as `europe-west3`. Multi-regions have no place: keys and data stay in one region."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+[0-9]+$", var.location))
    error_message = "location must be one region, such as europe-west3."
  }
}

variable "name" {
  description = "Start of the names of service accounts, key ring and pool."
  type        = string
  default     = "strongroom"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{3,20}[a-z0-9]$", var.name))
    error_message = "name must be 5 to 22 lower-case letters, digits and hyphens, starting with a letter."
  }
}

variable "data_bucket" {
  description = "Name of the new bucket for datasets, models, sealed evaluators and runs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.data_bucket))
    error_message = "data_bucket must be 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "audit_bucket" {
  description = "Name of the new bucket for the audit log. Another one than `data_bucket`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.audit_bucket))
    error_message = "audit_bucket must be 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "input_prefixes" {
  description = "Prefixes of the data bucket that runs may read: datasets, base models, sealed evaluators. Name them as narrowly as you can."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.input_prefixes) > 0 && length(var.input_prefixes) <= 50
    error_message = "input_prefixes must hold 1 to 50 prefixes."
  }

  validation {
    condition     = alltrue([for prefix in var.input_prefixes : can(regex("^([A-Za-z0-9][A-Za-z0-9._=+@-]*/)+$", prefix))])
    error_message = "each of input_prefixes must be folders such as datasets/feedback/train/: ending in '/', no wildcard, not the bucket's root."
  }
}

variable "outputs_prefix" {
  description = "Prefix of the data bucket under which each run creates one folder."
  type        = string
  default     = "runs/"
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9][A-Za-z0-9._=+@-]*/)+$", var.outputs_prefix))
    error_message = "outputs_prefix must be folders such as runs/: ending in '/', no wildcard, not the bucket's root."
  }
}

variable "audit_prefix" {
  description = "Prefix of the audit log in the audit bucket."
  type        = string
  default     = "strongroom/"
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9][A-Za-z0-9._=+@-]*/)+$", var.audit_prefix))
    error_message = "audit_prefix must be folders such as strongroom/: ending in '/', no wildcard, not the bucket's root."
  }
}

variable "issuer_url" {
  description = "Issuer of the brokers' identity tokens, `<OpenBao or Vault address>/v1/identity/oidc`. Google must reach its `.well-known` pages."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(/[A-Za-z0-9._~-]+)*$", var.issuer_url))
    error_message = "issuer_url must be https://host/path without port, query or a slash at its end, exactly as in the tokens' iss."
  }
}

variable "audience" {
  description = "The only `aud` that the pool takes: the client id of the issuer's OIDC role."
  type        = string
  default     = "strongroom"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$", var.audience))
    error_message = "audience must be 1 to 255 letters, digits and . _ : / -, without a wildcard."
  }
}

variable "broker_subject" {
  description = "The only `sub` that may act as the service accounts of runs: the broker's entity id at OpenBao or Vault."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:@-]{0,126}$", var.broker_subject))
    error_message = "broker_subject must be one exact subject of 1 to 127 characters (Google's limit), without a wildcard."
  }
}

variable "log_subject" {
  description = "The only `sub` that may act as the service account that writes the audit log: the entity id of the releaser's identity for it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._:@-]{0,126}$", var.log_subject))
    error_message = "log_subject must be one exact subject of 1 to 127 characters (Google's limit), without a wildcard."
  }
}

variable "confidential_space_image" {
  description = "Digest of a container image that may also identify itself by a Confidential Space attestation. Strongroom has no use for it yet. Null: no such provider."
  type        = string
  default     = null

  validation {
    condition     = var.confidential_space_image == null || can(regex("^sha256:[0-9a-f]{64}$", var.confidential_space_image))
    error_message = "confidential_space_image must be null or sha256: and 64 hexadecimal digits."
  }
}

variable "audit_retention_days" {
  description = "Days for which nobody can change or remove what was logged. There is no default: once locked it cannot be shortened, by Google neither."
  type        = number
  nullable    = false

  validation {
    condition     = var.audit_retention_days >= 1 && var.audit_retention_days <= 36500 && floor(var.audit_retention_days) == var.audit_retention_days
    error_message = "audit_retention_days must be a whole number from 1 to 36500."
  }
}

variable "lock_audit_retention" {
  description = "Whether to lock the retention. It cannot be undone."
  type        = bool
  default     = true
  nullable    = false
}

variable "abort_uploads_after_days" {
  description = "Days after which parts of an unfinished upload are removed, 1 to 30."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.abort_uploads_after_days >= 1 && var.abort_uploads_after_days <= 30 && floor(var.abort_uploads_after_days) == var.abort_uploads_after_days
    error_message = "abort_uploads_after_days must be a whole number from 1 to 30."
  }
}

variable "allowed_cidrs" {
  description = "Public networks from which alone the buckets answer. Empty with an empty `allowed_vpcs`: from any network."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.allowed_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "allowed_cidrs must hold networks such as 198.51.100.0/24; leave it empty rather than name every address."
  }
}

variable "allowed_vpcs" {
  description = "VPC networks (`projects/<project>/global/networks/<name>`) from which the buckets answer, with the ranges of each."
  type        = map(list(string))
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for network in keys(var.allowed_vpcs) : can(regex("^projects/[a-z][a-z0-9-]{4,28}[a-z0-9]/global/networks/[a-z][a-z0-9-]{0,62}$", network))])
    error_message = "each key of allowed_vpcs must be projects/<project>/global/networks/<name>."
  }

  validation {
    condition     = alltrue([for cidr in flatten(values(var.allowed_vpcs)) : can(cidrhost(cidr, 0))])
    error_message = "allowed_vpcs must give each network a list of ranges such as 10.1.0.0/16."
  }
}

variable "labels" {
  description = "Labels for everything that takes labels."
  type        = map(string)
  default     = {}
  nullable    = false
}
