terraform {
  required_version = ">= 1.10"

  required_providers {
    strongroom = {
      source  = "strongroom/strongroom"
      version = ">= 0.1.0, < 0.2.0"
    }
  }
}
