# Nothing in, nothing out, in both namespaces: what follows opens it again, one need at a time.
resource "kubernetes_network_policy_v1" "closed" {
  for_each = module.plan.namespaces

  metadata {
    name      = "closed"
    namespace = kubernetes_namespace_v1.this[each.key].metadata[0].name
    labels    = module.plan.labels
  }

  spec {
    pod_selector {}
    policy_types = ["Ingress", "Egress"]
  }
}

resource "kubernetes_network_policy_v1" "names" {
  for_each = module.plan.namespaces

  metadata {
    name      = "names"
    namespace = kubernetes_namespace_v1.this[each.key].metadata[0].name
    labels    = module.plan.labels
  }

  spec {
    pod_selector {}
    policy_types = ["Egress"]

    egress {
      to {
        namespace_selector {
          match_labels = { "kubernetes.io/metadata.name" = var.network.dns_namespace }
        }
      }

      dynamic "ports" {
        for_each = toset(["UDP", "TCP"])

        content {
          port     = "53"
          protocol = ports.value
        }
      }
    }
  }
}

resource "kubernetes_network_policy_v1" "outside" {
  for_each = { for name, list in module.plan.egress : name => list if length(list) > 0 }

  metadata {
    name      = "outside"
    namespace = kubernetes_namespace_v1.this[each.key].metadata[0].name
    labels    = module.plan.labels
  }

  spec {
    pod_selector {}
    policy_types = ["Egress"]

    dynamic "egress" {
      for_each = each.value

      content {
        to {
          ip_block {
            cidr = egress.value.cidr
          }
        }

        dynamic "ports" {
          for_each = egress.value.ports

          content {
            port     = tostring(ports.value)
            protocol = "TCP"
          }
        }
      }
    }
  }
}

# The service, the gateway and what they stand on call each other; jobs call them (MLflow, the feature store).
resource "kubernetes_network_policy_v1" "inside" {
  metadata {
    name      = "inside"
    namespace = kubernetes_namespace_v1.this["service"].metadata[0].name
    labels    = module.plan.labels
  }

  spec {
    pod_selector {}
    policy_types = ["Ingress", "Egress"]

    ingress {
      from {
        pod_selector {}
      }

      dynamic "from" {
        for_each = module.plan.callers

        content {
          namespace_selector {
            match_labels = { "kubernetes.io/metadata.name" = from.value }
          }
        }
      }
    }

    egress {
      to {
        pod_selector {}
      }
    }
  }
}

resource "kubernetes_network_policy_v1" "jobs_to_service" {
  metadata {
    name      = "service"
    namespace = kubernetes_namespace_v1.this["jobs"].metadata[0].name
    labels    = module.plan.labels
  }

  spec {
    pod_selector {}
    policy_types = ["Egress"]

    egress {
      to {
        namespace_selector {
          match_labels = { "kubernetes.io/metadata.name" = kubernetes_namespace_v1.this["service"].metadata[0].name }
        }
      }
    }
  }
}
