{{- define "landing.labels" -}}
app.kubernetes.io/name: landing
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
