locals {
  labels = merge(var.labels, {
    "app.kubernetes.io/part-of"    = "oppen"
    "app.kubernetes.io/managed-by" = "terraform"
  })

  gpu = "nvidia.com/gpu"

  # Admission refuses what could harm the node: our pods keep the strictest standard.
  secured = {
    "pod-security.kubernetes.io/enforce" = "restricted"
    "pod-security.kubernetes.io/warn"    = "restricted"
    "pod-security.kubernetes.io/audit"   = "restricted"
  }

  api_server = [
    for block in var.network.api_server_cidrs : { cidr = block, ports = var.network.api_server_ports }
  ]
}
