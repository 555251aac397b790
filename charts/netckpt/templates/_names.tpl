{{- define "netckpt.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "netckpt.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "netckpt.name" .) }}
{{- end }}

{{- /* The user name that the API server knows an agent by. */ -}}
{{- define "netckpt.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "netckpt.serviceAccount" . }}
{{- end }}

{{- define "netckpt.selector" -}}
app.kubernetes.io/name: netckpt
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}

{{- define "netckpt.labels" -}}
{{ include "netckpt.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "netckpt.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* The Secrets that agents may read: those named, and the one of the release's own storage. */ -}}
{{- define "netckpt.secretNames" -}}
{{- $names := .Values.rbac.secretNames }}
{{- if .Values.storage.create }}
{{- $secret := dig "s3" "secretRef" dict .Values.storage.spec }}
{{- if and $secret.name (eq (default .Release.Namespace $secret.namespace) .Release.Namespace) }}
{{- $names = append $names $secret.name }}
{{- end }}
{{- end }}
{{- uniq $names | toYaml }}
{{- end }}
