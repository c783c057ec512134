resource "kubernetes_priority_class_v1" "this" {
  for_each = module.plan.priorities

  metadata {
    name   = each.key
    labels = module.plan.labels
  }

  value             = each.value.value
  preemption_policy = each.value.preemption_policy
  description       = each.value.description
  global_default    = false
}

resource "kubernetes_node_taint" "gpu" {
  for_each = var.gpu_pool.nodes

  metadata {
    name = each.value
  }

  dynamic "taint" {
    for_each = module.plan.gpu_taints

    content {
      key    = taint.value.key
      value  = taint.value.value
      effect = taint.value.effect
    }
  }
}

resource "kubernetes_labels" "gpu" {
  for_each = var.gpu_pool.nodes

  api_version = "v1"
  kind        = "Node"

  metadata {
    name = each.value
  }

  labels = module.plan.gpu_node_selector
}
